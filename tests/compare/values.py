"""Canonical values of a column of any engine, for comparing two ends. Shares no code with the product."""

import decimal
import json
import math
import re
import struct

# Kinds, coarser than the engines' types: how two values are compared.
BOOL, INT, NUMERIC, FLOAT32, FLOAT64, CHAR, TEXT, BYTES = "bool", "int", "numeric", "float32", "float64", "char", "text", "bytes"
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, DURATION, UUID, JSON, BIT, INET = (
    "date", "time", "timestamp", "timestamptz", "duration", "uuid", "json", "bit", "inet",
)
ANY = "any"

_exact = decimal.Context(prec=200000, Emin=-200000, Emax=200000)


class Tagged(tuple):
    """(kind, text): never equal to a value of another kind, nor to None."""

    def __repr__(self):
        kind, value = self
        value = value if isinstance(value, str) else repr(value)
        return f"{value if len(value) < 60 else value[:57] + '…'} ({kind})"


def _number(text):
    """Equal numbers give equal text: 1.10 = 1.1, 1E+2 = 100."""
    t = str(text)
    special = {"nan": "NaN", "infinity": "Infinity", "inf": "Infinity", "-infinity": "-Infinity", "-inf": "-Infinity"}
    if t.lower() in special:
        return special[t.lower()]
    d = _exact.create_decimal(t)
    if d.is_zero():
        return "0"
    return format(d.normalize(_exact), "f")


def _float(text, single):
    f = float(text)
    if math.isnan(f):
        return "NaN"
    if single:
        # Out of range for a single is a difference of its own, not an error.
        try:
            f = struct.unpack("<f", struct.pack("<f", f))[0]
        except OverflowError:
            pass
    return repr(f)  # keeps the sign of zero


def _fraction(text):
    return re.sub(r"(\.\d*?)0+(?=$|[+-]| )", r"\1", text).replace(". ", " ").rstrip(".") if "." in text else text


def _json(text):
    def no_double(s):
        return Tagged(("number", _number(s)))

    v = json.loads(text, parse_float=no_double, parse_int=no_double, parse_constant=no_double)

    def freeze(x):
        if isinstance(x, dict):
            return "{" + ",".join(sorted(f"{json.dumps(k)}:{freeze(y)}" for k, y in x.items())) + "}"
        if isinstance(x, Tagged):
            return x[1]
        if isinstance(x, list):
            return "[" + ",".join(map(freeze, x)) + "]"
        return json.dumps(x)

    return freeze(v)


def family(a, b):
    """How a column is compared that is of kind a at one end and of kind b at the other."""
    kinds = {a, b}
    if a == b:
        return a
    if BOOL in kinds:
        return BOOL
    if FLOAT32 in kinds:
        return FLOAT32
    if FLOAT64 in kinds:
        return FLOAT64
    if NUMERIC in kinds or INT in kinds:
        return NUMERIC
    for k in (JSON, UUID, INET, TIMESTAMPTZ, TIMESTAMP, DATE, TIME, DURATION, BIT, BYTES, CHAR):
        if k in kinds:
            return k
    return TEXT


def canonical(value, fam, exact):
    """value: None, str or bytes, as the reader gave it. `exact`: both ends are of one engine, so the text itself counts."""
    if value is None:
        return None
    if isinstance(value, (bytes, memoryview)):
        value = bytes(value)
        if fam in (BYTES, ANY):
            return Tagged(("bytes", value.hex()))
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return Tagged(("bytes", value.hex()))
    try:
        return Tagged((fam, _text(value, fam, exact)))
    except (ValueError, decimal.InvalidOperation):
        return Tagged(("text", value))  # not of its kind: only the same text is equal


def _text(value, fam, exact):
    if fam == BOOL:
        return {"t": "true", "true": "true", "1": "true", "f": "false", "false": "false", "0": "false"}.get(value, value)
    if fam == FLOAT32 or fam == FLOAT64:
        return _float(value, fam == FLOAT32)
    if exact:
        return value
    if fam in (INT, NUMERIC):
        return _number(value)
    if fam == CHAR:
        return value.rstrip(" ")
    if fam == BYTES:
        return value[2:].lower() if value[:2] == "\\x" else value
    if fam == UUID:
        return value.lower()
    if fam in (TIMESTAMP, TIME, DURATION):
        return _fraction(value)
    if fam == TIMESTAMPTZ:
        return _fraction(re.sub(r"(\+00(:?00)?|Z)$", "", value))
    if fam == JSON:
        return _json(value)
    if fam == INET:
        return re.sub(r"/128$" if ":" in value else r"/32$", "", value)  # a cast writes what the value itself does not
    return value
