"""Names of the agent that stay as they are on a device."""

from __future__ import annotations

import ast
import asyncio
import binascii
import builtins
import errno
import hashlib
import io
import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from host_tools.devices.code.fixed import FIXED, fixed
from host_tools.devices.code.uses import FUNCTIONS, Uses, names_stored

_MODULES = (
    asyncio, binascii, errno, hashlib, io, json, os, select, socket, ssl, struct, sys, time,
)  # fmt: skip
_CLASSES = (
    bytes, dict, int, list, memoryview, set, str, BaseException, io.BytesIO, os.stat_result,
    asyncio.Event, asyncio.Lock, asyncio.StreamWriter, asyncio.Task, select.poll, socket.socket,
    ssl.SSLContext, ssl.SSLSocket,
)  # fmt: skip
OF_INTERPRETERS_OBJECTS = frozenset(
    name for thing in (*_MODULES, *_CLASSES) for name in dir(thing)
)
"""What objects of the interpreters have: the same name in a file may mean theirs."""

# What the simulation (tests/sim) reads of an agent that it runs as released.
_SIMULATED = frozenset(
    "bytes_in bytes_out bytes_written const in_flight open_journal query reach ticks_add ticks_us"
    " writes Client Journal".split()
)
# What boards, provisioning and visits call.
_BOARD = "agent/device/board.py"
_INTERFACES = (_BOARD, "agent/visit.py", "agent/start.py")
# What provisioning, visits and the check of a board run on a device.
_FIELD = Path(__file__).resolve().parents[2] / "field"
_SCRIPTS = ("provision/payload.py", "provision/serial_device.py", "device_check/scripts.py")
_WORD = re.compile(r"[A-Za-z_]\w*")
# Files in which any text may be a name, and functions that get a name as a text.
_TEXTS_ARE_NAMES = ("agent/sources/", "boards/", "agent/device/heap.py")
_BY_TEXT = ("getattr", "hasattr", "setattr", "delattr")
# A log names what is defined here.
_LOGGED = ("agent/sources/", "boards/")


def names_that_stay(trees: Mapping[str, ast.Module], uses: Mapping[str, Uses]) -> set[str]:
    """Those that others than the agent know, that the interpreter has too, or that the compiler
    replaces by their values."""
    stay = known_outside(trees) | OF_INTERPRETERS_OBJECTS | set(dir(builtins))
    stay.update(*map(constants, trees.values()))
    return stay.union(*(of_file.interpreters for of_file in uses.values()))


def known_outside(trees: Mapping[str, ast.Module]) -> set[str]:
    """Names that others than the agent know, or that code has as texts."""
    known = {*_SIMULATED, *FIXED}
    for path, tree in trees.items():
        known.update(_names_as_texts(path, tree), _logged(path, tree))
        if path.startswith("boards/"):
            known.update(_boards_names(tree))
        if path in _INTERFACES:
            known.update(_interface(tree, with_class_attributes=path == _BOARD))
    for script in _SCRIPTS:
        for text in _texts(fixed(script, ast.parse((_FIELD / script).read_bytes()))):
            known.update(_WORD.findall(text))
    return known


def constants(tree: ast.Module) -> set[str]:
    """The names that are given to `const`: the compiler puts their values in."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "const"
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _names_as_texts(path: str, tree: ast.Module) -> Iterator[str]:
    if path.startswith(_TEXTS_ARE_NAMES):
        yield from _texts(tree)
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in _BY_TEXT
        ):
            yield from _texts(node)


def _texts(node: ast.AST) -> Iterator[str]:
    """Texts in code, without those for people."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for_people = isinstance(node, ast.Call) and ast.unparse(node.func) == "_"
    for inside in [] if for_people else ast.iter_child_nodes(node):
        yield from _texts(inside)


def _logged(path: str, tree: ast.Module) -> Iterator[str]:
    """Classes whose names a log shows: errors and sources."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            if path.startswith(_LOGGED) or node.name.endswith("Error"):
                yield node.name


def _boards_names(tree: ast.Module) -> Iterator[str]:
    """Of a board's file: what it has of the chip's own modules is not known here, MicroPython
    starts some of them as they are, and they import from the agent."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr[0] != "_":
            yield node.attr
        elif isinstance(node, FUNCTIONS) and node.name[0] != "_":
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.name
    for statement in tree.body:
        if not isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
            yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def _interface(tree: ast.Module, with_class_attributes: bool) -> Iterator[str]:
    """Public functions and classes of a file."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            names.append(node.name)
        if isinstance(node, ast.ClassDef) and with_class_attributes:
            names.extend(names_stored(node.body))
    yield from (name for name in names if name[0] != "_")
