"""nginx configured by hand for one Service, as a person would write it who wants what ingress-nginx gives.

Whoever stands behind is told the same headers, and the log has the same words, written at once in the same portions as
a lab's. Not here are ingress-nginx' variables and maps, its servers for other hosts, and its certificates.
"""

from __future__ import annotations

HAND = """
pid {directory}/{name}.pid; daemon off; worker_processes 1; user root; error_log stderr;
events {{ multi_accept on; worker_connections 16384; }}
http {{
  log_format long '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [default-there-80] [] $upstream_addr $upstream_response_length '
    '$upstream_response_time $upstream_status $request_id';
  access_log {directory}/{name}.log long buffer=16k flush=10ms; keepalive_requests 1000; server_tokens off;
  client_body_temp_path {directory}/{name}.body; proxy_temp_path {directory}/{name}.proxy;
  fastcgi_temp_path {directory}/{name}.f; uwsgi_temp_path {directory}/{name}.u; scgi_temp_path {directory}/{name}.s;
  upstream there {{ server {there}:8080; keepalive 320; keepalive_requests 10000; }}
  server {{ listen 80 backlog=4096; location / {{ proxy_pass http://there; proxy_http_version 1.1;
    proxy_buffering off; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header X-Request-ID $request_id; proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Scheme $scheme; proxy_set_header X-Scheme $scheme; }} }}
}}
"""
THERE = """
pid {directory}/{name}.pid; daemon off; worker_processes 1; user root; error_log stderr;
events {{ multi_accept on; worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {directory}/{name}.body;
  proxy_temp_path {directory}/{name}.proxy; fastcgi_temp_path {directory}/{name}.f;
  uwsgi_temp_path {directory}/{name}.u; scgi_temp_path {directory}/{name}.s;
  server {{ listen 8080; location / {{ return 200 "{name}"; }} }}
}}
"""
"""Answers by itself with its name."""
