"""The class's file: who is in it and what each of them gets. It outlives a restart of the machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from k8snetlab.errors import ConflictError, InputError, ManifestError, NotFoundError
from k8snetlab.kernel import userns
from k8snetlab.state.paths import names_lab, write_private

DEFAULT = Path("/var/lib/k8snetlab/class")
RECORDS = "records"
"""The directory of what was seen of students."""
MOST = 256
"""Students of a class."""
_SEATS = 4096
"""For which there are numbers. A class of another directory, as in tests, has some behind the first MOST."""
_LONGEST = 100
_LINE = re.compile(r"([^\s,;]+)[\s,;]*(.*)")


class Student(msgspec.Struct, frozen=True):
    """One student."""

    name: str
    """What `class shell` takes: a DNS label, and the hostname of the seat."""
    full: str = ""
    """As a report shows it."""


class Roll(msgspec.Struct, frozen=True):
    """A class, as it was started last."""

    students: tuple[Student, ...]
    """In the order of their seats: each has its place, and so its user numbers, for good."""
    scenario: str = ""
    """What every lab is built from; "" where a lesson is."""
    lab: str = ""
    """What the scenario's file calls its lab; "" where labs are called as their students."""
    lesson: str = ""
    """With which lesson everybody begins."""
    language: str = "en"
    """Of the lesson."""
    memory: int = 256
    """MiB that a seat's processes and files may take."""
    loaded: bool = False
    """Whether br_netfilter was loaded for this class."""

    def place(self, name: str) -> int:
        """The student's seat, from 0. Raises NotFoundError."""
        for place, student in enumerate(self.students):
            if student.name == name:
                return place
        raise NotFoundError(f"no student {name!r} is in this class", f"students: {_few(self.students)}")


def directory() -> Path:
    """K8SNETLAB_CLASS names another one."""
    return Path(os.environ.get("K8SNETLAB_CLASS", DEFAULT))


def base_of(place: int) -> int:
    """The first user number of a seat."""
    first = 0
    if directory() != DEFAULT:
        digest = hashlib.sha256(os.fsencode(directory())).digest()
        first = MOST + int.from_bytes(digest[:8], "big") % (_SEATS - 2 * MOST)
    return userns.LEAST + (first + place) * userns.IDS


def read() -> Roll:
    """Raises NotFoundError where there is no class, InputError where the file is none of ours."""
    file = directory() / "class.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Roll)
    except FileNotFoundError:
        raise NotFoundError("there is no class on this machine", "k8snetlab class start --students 3") from None
    except msgspec.MsgspecError as error:
        raise InputError(f"{file}: {error}", "`k8snetlab class stop --forget` makes room for a new one") from None


def readable() -> bool:
    """Whether a class's file is there, and can be read."""
    try:
        read()
    except (InputError, NotFoundError):
        return False
    return True


def write(roll: Roll) -> None:
    write_private(directory() / "class.json", msgspec.json.format(msgspec.json.encode(roll)))


def forget() -> None:
    """Takes away the class's files, and no other one that is beside them."""
    for file in (directory() / RECORDS).glob("*.json"):
        file.unlink()
    for file in (directory() / "class.json", directory() / "lock"):
        file.unlink(missing_ok=True)
    for place in (directory() / RECORDS, directory()):
        with contextlib.suppress(OSError):  # somebody else's are in it, or it is not there
            place.rmdir()


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """One process at a time changes the class. What it starts meanwhile keeps the turn, if it outlives it. Raises
    ConflictError where another one has it."""
    directory().mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(fd, True)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                "another `k8snetlab class` is at work on this class", f"`fuser {directory() / 'lock'}` shows who"
            ) from None
        yield
    finally:
        os.close(fd)


def numbered(count: int) -> tuple[Student, ...]:
    """student1 to studentN. Raises InputError."""
    if not 1 <= count <= MOST:
        raise InputError(f"--students {count}: 1 to {MOST}")
    return tuple(Student(f"student{number}") for number in range(1, count + 1))


def named(text: str, file: str) -> tuple[Student, ...]:
    """A line for each: the name, then, if wanted, how it is shown. Raises ManifestError with every wrong line."""
    found: dict[str, Student] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if not (said := line.partition("#")[0].strip()):
            continue
        match = _LINE.fullmatch(said)
        name, full = match.groups() if match else (said, "")
        if not names_lab(name):
            problems.append(f"{file}:{number}: {name[:80]!r} cannot name a student: a DNS label, as ada-l")
        elif name in found:
            problems.append(f"{file}:{number}: {name} stands there twice")
        elif len(full) > _LONGEST or not full.isprintable():
            problems.append(f"{file}:{number}: at most {_LONGEST} printable characters follow the name")
        else:
            found[name] = Student(name, full)
    if not problems and not 1 <= len(found) <= MOST:
        problems.append(f"{file}: {len(found)} students, and a class has 1 to {MOST}")
    if problems:
        raise ManifestError(problems, "one student a line: ada, or: ada Ada Lovelace")
    return tuple(found.values())


def together(before: Sequence[Student], wanted: Sequence[Student]) -> tuple[Student, ...]:
    """Those that are there keep their seats, and the new ones come behind. Raises InputError where one is missing: it
    would have no seat, and its lab would stay."""
    now = {student.name: student for student in wanted}
    if gone := [student for student in before if student.name not in now]:
        raise InputError(
            f"{_few(gone)} of this class would be left out",
            "name them, too; or `k8snetlab class stop --forget` first, which ends this class",
        )
    kept = [now.pop(student.name) for student in before]
    if len(before) + len(now) > MOST:
        raise InputError(f"{len(before) + len(now)} students, and a class has at most {MOST}")
    return (*kept, *now.values())


def _few(students: Sequence[Student]) -> str:
    names = [student.name for student in students[:8]]
    return ", ".join(names) + (f" and {len(students) - 8} more" if len(students) > 8 else "")
