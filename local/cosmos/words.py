"""The words of Cosmos SQL: tokens, keywords, built-in functions, and the errors about them.

Keywords and identifiers follow the grammar that the service's own .NET SDK carries
(https://github.com/Azure/azure-cosmos-dotnet-v3, Microsoft.Azure.Cosmos/src/Query/Core/Parser/sql.g4), the functions
https://learn.microsoft.com/azure/cosmos-db/nosql/query/system-functions.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from .errors import CosmosError, bad_request

# Whatever their case, these are no names: c.order and c.Value are syntax errors, c["order"] is a property.
_KEYWORDS = frozenset(
    word.upper()
    for word in (
        *("and", "array", "as", "asc", "between", "by", "desc", "distinct", "escape", "exists", "from", "group", "in"),
        *("join", "left", "like", "limit", "not", "offset", "or", "order", "rank", "right", "select", "top", "value"),
        "where",
    )
)
# These are keywords in lower case only: TRUE is a name like any other.
_LITERALS = frozenset({"true", "false", "null", "undefined", "udf"})
_FUNCTION_NAMES = """
    ABS ACOS ARRAY_AVG ARRAY_CONCAT ARRAY_CONTAINS ARRAY_CONTAINS_ALL ARRAY_CONTAINS_ANY ARRAY_LENGTH ARRAY_MAX
    ARRAY_MEDIAN ARRAY_MIN ARRAY_SLICE ARRAY_SUM ASIN ATAN ATN2 AVG CEILING CHOOSE CONCAT CONTAINS
    CONTAINS_ALL_CI CONTAINS_ALL_CS CONTAINS_ANY_CI CONTAINS_ANY_CS COS COT COUNT COUNTIF DATETIMEADD DATETIMEBIN
    DATETIMEDIFF DATETIMEFORMAT DATETIMEFROMPARTS DATETIMEPART DATETIMETOTICKS DATETIMETOTIMESTAMP DEGREES DOCUMENTID
    ENDSWITH EXP FLOOR FULLTEXTCONTAINS FULLTEXTCONTAINSALL FULLTEXTCONTAINSANY FULLTEXTSCORE GETCURRENTDATETIME
    GETCURRENTDATETIMESTATIC GETCURRENTTICKS GETCURRENTTICKSSTATIC GETCURRENTTIMESTAMP GETCURRENTTIMESTAMPSTATIC HASH
    IIF INDEX_OF INTADD INTBITAND INTBITLEFTSHIFT INTBITNOT INTBITOR INTBITRIGHTSHIFT INTBITXOR INTDIV INTMOD INTMUL
    INTSUB IS_ARRAY IS_BOOL IS_DATETIME IS_DEFINED IS_FINITE_NUMBER IS_INTEGER IS_NULL IS_NUMBER IS_OBJECT
    IS_PRIMITIVE IS_STRING LASTSUBSTRINGAFTER LASTSUBSTRINGBEFORE LEFT LENGTH LOG LOG10 LOWER LTRIM MAKELIST MAKESET
    MAX MIN NUMBERBIN OBJECTTOARRAY PI POWER RADIANS RAND REGEXEXTRACT REGEXEXTRACTALL REGEXMATCH REPLACE REPLICATE
    REVERSE RIGHT ROUND RRF RTRIM SETDIFFERENCE SETEQUAL SETINTERSECT SETUNION SIGN SIN SQRT SQUARE STARTSWITH
    ST_AREA ST_DISTANCE ST_INTERSECTS ST_ISVALID ST_ISVALIDDETAILED ST_WITHIN STRINGEQUALS STRINGJOIN STRINGSPLIT
    STRINGTOARRAY STRINGTOBOOLEAN STRINGTONULL STRINGTONUMBER STRINGTOOBJECT SUBSTRING SUBSTRINGAFTER SUBSTRINGBEFORE
    SUM TAN TICKSTODATETIME TIMESTAMPTODATETIME TOSTRING TRIM TRUNC UPPER VECTORDISTANCE
"""
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?\*/
    |(?P<number>(?:0[xX][0-9a-fA-F]+)|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<parameter>@[A-Za-z_0-9]+)
    |(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*"|'(?:[^'\\\x00-\x1f]|\\.)*')
    |(?P<sign><>|!=|<=|>=|\?\?|\|\||<<|>>>?|[-=<>(){}\[\],.*:?+/%&|^~])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\", "/": "/"}


class Token(NamedTuple):
    """A word of a query: its kind, its text, and where it begins."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """The words of a query, and one of kind "end"; SC1010 for what is no word."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise fault("SC1010", f"Syntax error, invalid token '{text[position]}'.", position, position + 1)
        if match.lastgroup:
            found.append(Token(match.lastgroup, match.group(), position))
        position = match.end()
    return [*found, Token("end", "", len(text))]


def is_keyword(word: str) -> bool:
    """Whether a word cannot be the name of a property, an alias or a container."""
    return word.upper() in _KEYWORDS or word in _LITERALS


def number(text: str) -> int | float:
    """The value of a number token."""
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text) if text.isdigit() else float(text)


def string(token: Token) -> str:
    """The value of a string token; the escapes are those of JSON, and the apostrophe's."""
    inner = token.text[1:-1]
    if "\\" not in inner:
        return inner

    def unescape(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise fault("SC1012", f"Syntax error, invalid string literal token '{token.text}'.", *_place(token))
        return _ESCAPES[code]

    # Two escapes may be the halves of one character.
    return str(json.loads(json.dumps(_ESCAPE.sub(unescape, inner))))


def syntax_error(token: Token) -> CosmosError:
    """SC1001: the word cannot stand where it stands."""
    return fault("SC1001", f"Syntax error, incorrect syntax near '{token.text}'.", *_place(token))


def unresolved(token: Token) -> CosmosError:
    """SC2001: a name that is neither the alias of the container nor anything else."""
    return fault("SC2001", f"Identifier '{token.text}' could not be resolved.", *_place(token))


def unknown_function(token: Token) -> CosmosError:
    """SC2005: a function that the service does not have."""
    return fault("SC2005", f"'{token.text}' is not a recognized built-in function name.", *_place(token))


def fault(code: str, message: str, start: int, end: int) -> CosmosError:
    """400 in the form in which the service tells what is wrong with a query."""
    detail = {"severity": "Error", "location": {"start": start, "end": end}, "code": code, "message": message}
    problem = bad_request(message)
    problem.detail = {"errors": [detail]}
    return problem


def unsupported(construct: str) -> CosmosError:
    """400 for a construct that Cosmos knows and this server does not."""
    return bad_request(f"This development server does not support {construct} in a query.")


def _place(token: Token) -> tuple[int, int]:
    return token.at, token.at + len(token.text)
