/* Pods, as cheap as the kernel makes them: a network namespace each, a veth pair into a bridge, an address, a route.
 *
 *     pods PREFIX PODS PORTS
 *
 * The bridges, of PORTS pods each, stand in namespaces of their own: PREFIX.bridge0, PREFIX.pod0 and so on below
 * /run/netns. Prints the seconds that making them took, waits for a line (or the end) of its input, removes them and
 * prints the seconds of that. An error, SIGINT and SIGTERM remove what was made, too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OWN "/proc/thread-self/ns/net"
#define ETH0 2 /* the first device of a namespace after lo */

static const char *prefix;
static int made_pods, made_bridges;
static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

/* --- what is made, and its end ----------------------------------------------------------------------------------- */

static const char *path_of(const char *kind, int number)
{
	static char path[128];
	snprintf(path, sizeof path, "/run/netns/%s.%s%d", prefix, kind, number);
	return path;
}

static void remove_all(void)
{
	for (int i = 0; i < made_pods; i++) {
		umount2(path_of("pod", i), MNT_DETACH);
		unlink(path_of("pod", i));
	}
	for (int i = 0; i < made_bridges; i++) {
		umount2(path_of("bridge", i), MNT_DETACH);
		unlink(path_of("bridge", i));
	}
}

static void need(int result, const char *what)
{
	if (result >= 0 && !interrupted)
		return;
	fprintf(stderr, "%s: %s\n", what, interrupted ? "interrupted" : strerror(errno));
	remove_all();
	exit(interrupted ? 130 : 1);
}

/* The process is in the new namespace afterwards. */
static void new_namespace(const char *kind, int number, int *count)
{
	const char *path = path_of(kind, number);
	int file = open(path, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0);
	need(file, path);
	close(file);
	*count = number + 1;
	need(unshare(CLONE_NEWNET), "unshare");
	need(mount(OWN, path, "none", MS_BIND, NULL), path);
}

/* --- netlink ----------------------------------------------------------------------------------------------------- */

static char batch[2048];
static int length, requests;

static void *append(const void *data, int size)
{
	char *at = batch + length;
	memset(at, 0, NLMSG_ALIGN(size));
	if (data)
		memcpy(at, data, size);
	length += NLMSG_ALIGN(size);
	return at;
}

static struct nlmsghdr *request(int type, int flags, const void *body, int size)
{
	struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags};
	struct nlmsghdr *at = append(&header, sizeof header);
	append(body, size);
	requests++;
	return at;
}

static struct rtattr *attribute(int type, const void *data, int size)
{
	struct rtattr header = {.rta_type = type, .rta_len = RTA_LENGTH(size)};
	struct rtattr *at = append(&header, sizeof header);
	append(data, size);
	return at;
}

static void end_attribute(struct rtattr *begun)
{
	begun->rta_len = batch + length - (char *)begun;
}

static void end_request(struct nlmsghdr *begun)
{
	begun->nlmsg_len = batch + length - (char *)begun;
}

static int netlink_socket(void)
{
	int opened = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	need(opened, "netlink");
	return opened;
}

/* Sends the requests in one piece and waits until each is acknowledged. */
static void send_batch(int socket, const char *what)
{
	static char answer[65536];
	need(send(socket, batch, length, 0), what);
	length = 0;
	while (requests > 0) {
		int size = recv(socket, answer, sizeof answer, 0);
		need(size, what);
		for (struct nlmsghdr *at = (void *)answer; NLMSG_OK(at, size); at = NLMSG_NEXT(at, size)) {
			if (at->nlmsg_type != NLMSG_ERROR)
				continue;
			requests--;
			errno = -((struct nlmsgerr *)NLMSG_DATA(at))->error;
			need(errno ? -1 : 0, what);
		}
	}
}

/* --- a bridge, a pod --------------------------------------------------------------------------------------------- */

static void add_bridge(int socket)
{
	struct ifinfomsg up = {.ifi_index = ETH0, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct nlmsghdr *link = request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof up);
	attribute(IFLA_IFNAME, "cni0", 5);
	struct rtattr *info = attribute(IFLA_LINKINFO, NULL, 0);
	attribute(IFLA_INFO_KIND, "bridge", 6);
	end_attribute(info);
	end_request(link);
	send_batch(socket, "bridge");
}

static void add_veth(int socket, int number, int pod)
{
	struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, inside = {.ifi_index = ETH0};
	unsigned bridge = ETH0;
	char name[IFNAMSIZ];
	struct nlmsghdr *link = request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof up);
	attribute(IFLA_IFNAME, name, snprintf(name, sizeof name, "veth%d", number) + 1);
	attribute(IFLA_MASTER, &bridge, sizeof bridge);
	struct rtattr *info = attribute(IFLA_LINKINFO, NULL, 0);
	attribute(IFLA_INFO_KIND, "veth", 4);
	struct rtattr *data = attribute(IFLA_INFO_DATA, NULL, 0);
	struct rtattr *peer = attribute(VETH_INFO_PEER, NULL, 0);
	append(&inside, sizeof inside);
	attribute(IFLA_IFNAME, "eth0", 5);
	attribute(IFLA_NET_NS_FD, &pod, sizeof pod);
	end_attribute(peer);
	end_attribute(data);
	end_attribute(info);
	end_request(link);
	send_batch(socket, "veth");
}

static void set_up(int socket, int number)
{
	struct ifinfomsg link = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct ifaddrmsg own = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = ETH0};
	struct rtmsg way = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
			    .rtm_type = RTN_UNICAST};
	unsigned address = htonl(0x0a640002 + number), gateway = htonl(0x0a640001), device = ETH0; /* 10.100.0.2 … */

	end_request(request(RTM_NEWLINK, 0, &link, sizeof link));
	link.ifi_index = ETH0;
	end_request(request(RTM_NEWLINK, 0, &link, sizeof link));
	struct nlmsghdr *begun = request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &own, sizeof own);
	attribute(IFA_LOCAL, &address, sizeof address);
	attribute(IFA_ADDRESS, &address, sizeof address);
	end_request(begun);
	begun = request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &way, sizeof way);
	attribute(RTA_GATEWAY, &gateway, sizeof gateway);
	attribute(RTA_OIF, &device, sizeof device);
	end_request(begun);
	send_batch(socket, "address and route");
}

static void make(int pods, int ports)
{
	int home = open(OWN, O_RDONLY | O_CLOEXEC), bridge = -1;
	for (int i = 0; i < pods; i++) {
		if (i % ports == 0) {
			if (bridge >= 0)
				close(bridge);
			new_namespace("bridge", i / ports, &made_bridges);
			bridge = netlink_socket();
			add_bridge(bridge);
		}
		new_namespace("pod", i, &made_pods);
		int socket = netlink_socket(), pod = open(OWN, O_RDONLY | O_CLOEXEC);
		add_veth(bridge, i, pod);
		set_up(socket, i);
		close(pod);
		close(socket);
	}
	need(setns(home, CLONE_NEWNET), "setns");
	close(home);
	close(bridge);
}

int main(int count, char **words)
{
	struct sigaction action = {.sa_handler = interrupt}; /* a call that waits ends with it */
	int pods = count == 4 ? atoi(words[2]) : 0, ports = count == 4 ? atoi(words[3]) : 0;
	if (pods < 1 || ports < 1 || ports > 1023) {
		fprintf(stderr, "usage: pods PREFIX PODS PORTS\n");
		return 2;
	}
	prefix = words[1];
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	mkdir("/run/netns", 0755);
	if (mount("", "/run/netns", "none", MS_SHARED | MS_REC, NULL)) { /* as `ip netns add` does it */
		need(mount("/run/netns", "/run/netns", "none", MS_BIND | MS_REC, NULL), "/run/netns");
		need(mount("", "/run/netns", "none", MS_SHARED | MS_REC, NULL), "/run/netns");
	}

	double began = now();
	make(pods, ports);
	printf("%.6f\n", now() - began);
	fflush(stdout);
	getchar();
	began = now();
	remove_all();
	printf("%.6f\n", now() - began);
	return 0;
}
