"""A function that is none: what it does is what most do, so that a runtime which has run it has all of that behind it. It imports nothing
that the runtime has not: what is there first, a function's own module of the same name would not be."""

import base64
import collections
import datetime
import functools
import json
import logging
import os
import re
import sys
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, quote, urlsplit

logger = logging.getLogger()
logger.setLevel(logging.INFO)

TABLE = os.environ.get("TABLE", "none")
LIMITS = {"small": 0x10, "large": 1_000.5, "names": ("a", b"b", None, True), **{"more": [1, -2, 3.5e2]}}
PATTERN = re.compile(r"^(?P<year>\d{4})-(\d\d)")
calls = 0
seen = set()
cache: dict[str, list] = {}


def counted(function):
    @functools.wraps(function)
    def wrapper(*given, **named):
        global calls
        calls += 1
        return function(*given, **named)

    return wrapper


@contextmanager
def timed(name):
    started = time.perf_counter()
    try:
        yield name.upper()
    finally:
        cache.setdefault(name, []).append(time.perf_counter() - started)


class Refused(Exception):
    def __init__(self, reason, *, code=400):
        super().__init__(reason)
        self.code = code


class Shape:
    sides = 0
    __slots__ = ("name", "_size")

    def __init__(self, name: str, size: float = 1.0):
        self.name, self._size = name, size

    @property
    def area(self):
        return self._size**2

    @staticmethod
    def twice(value):
        return value * 2

    @classmethod
    def named(cls, name):
        return cls(name=name)

    def __eq__(self, other):
        return isinstance(other, Shape) and self.name == other.name

    def __repr__(self):
        return f"<{type(self).__name__} {self.name!r} {self.area:.2f}>"


class Square(Shape):
    sides = 4

    def scaled(self, by=2):
        return Square(self.name, self._size * by)


Point = collections.namedtuple("Point", "x y")


def numbers(count, step=1, /, *rest, start=0):
    n = start
    while True:
        if n >= count:
            break
        n += step
        if n % 7 == 0 or not n:
            continue
        yield n
    else:
        yield -1
    yield from rest


@counted
def language(event, unique):
    total, *others = [each * each for each in numbers(20, 3, 5, 8)]
    by_key = {str(n): (n // 2, n % 2) for n in others if n > 4 and n != 9}
    odd = {n for n in others if n & 1} | {1, 2} - {2}
    pairs = sorted(by_key.items(), key=lambda pair: (-pair[1][0], pair[0]), reverse=True)[:3]
    shapes = [Shape("one"), Square(unique, 2), Square.named("two").scaled(by=3)]
    for index, shape in enumerate(shapes):
        total += index + int(shape.area) ^ 3
        setattr(shape, "name", getattr(shape, "name", None) or "none")
    try:
        if event.get("none", {}).get("deep") is None:
            raise Refused(f"{unique}: {len(shapes):>4} of {total:,}", code=404)
    except (KeyError, Refused) as error:
        reason = str(error)
    else:
        reason = ""
    finally:
        seen.add(unique)
    try:
        {}["missing"] + 1
    except KeyError:
        del by_key[next(iter(by_key))]
    match event:
        case {"n": int(n)} if n > 1:
            kind = "many"
        case {"n": _}:
            kind = "one"
        case _:
            kind = "none"
    assert any(shape == Shape("one") for shape in shapes) and all(odd)
    text = " ".join([reason, kind, "%s-%05.1f" % (unique, total / 3), "{0!r}{x}".format(pairs, x=-total)])
    point = Point(x=1, y=max(odd))._replace(x=min(others))
    flat = [*map(str, filter(None, point)), *reversed("abc"), text[::-1][1:-1:2]]
    first, (second, third) = 1, (2, [3])
    third[0] <<= 2
    counts = collections.Counter(text)
    recent = collections.deque(flat, maxlen=5)
    grouped = collections.defaultdict(list)
    for word in text.split():
        grouped[len(word)].append(word.strip("-").title())
    return {"total": total, "text": text, "odd": list(odd), "recent": list(recent), "most": max(counts.values())}


def library(event):
    now = datetime.datetime.now(datetime.timezone.utc)
    later = (now + datetime.timedelta(days=1, seconds=5)).isoformat()
    found = PATTERN.match(later)
    year: str | None = found.group("year") if found else None
    words = re.sub(r"[^\w-]+", " ", later).split(" ")
    encoded = base64.b64encode(json.dumps(event).encode("utf-8")).decode("ascii")
    url = urlsplit("https://user@example.com:8443/a/%s?x=1&y=2" % quote("b c/ü"))
    query = parse_qs(url.query)
    copy = json.loads(json.dumps({"list": [1.5, -2, True, None, "ü€\n"], "query": query}, indent=2, sort_keys=True))
    with timed("read") as name, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "function.py")) as own:
        lines = sum(1 for line in own if line.startswith("def "))
    is_there = os.path.exists("/tmp/none") or not os.path.isdir("/tmp")
    return (year, words[0], encoded[:4], url.hostname, copy["list"][-1], name, lines, is_there, sys.version_info >= (3, 8))


def handler(event, context):
    logger.info("event %s", json.dumps(event))
    print("left", context.get_remaining_time_in_millis(), TABLE)
    unique = f"k{time.time_ns()}"
    answer = language(event, unique)
    answer[unique] = [str(each) for each in library(event)]
    if calls > 1:
        logger.warning("%d calls of %s", calls, context.function_name, extra={"seen": len(seen)})
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps({"event": event, **answer})}
