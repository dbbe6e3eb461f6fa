"""What the door says: replies with their enhanced status codes (RFC 3463), and the reason each is counted under."""

from __future__ import annotations

from typing import NamedTuple


class Reply(NamedTuple):
    """One SMTP reply. `enhanced` is "" where RFC 2034 has none; `reason` names a refusal in the counters."""

    code: int
    enhanced: str
    text: str
    reason: str = ""

    def encode(self) -> bytes:
        """The line for the wire, with CR LF."""
        middle = f"{self.enhanced} " if self.enhanced else ""
        return f"{self.code} {middle}{self.text}\r\n".encode("ascii", "replace")

    @property
    def refused(self) -> bool:
        """Whether it is a 4xx or 5xx."""
        return self.code >= 400


OK = Reply(250, "2.0.0", "Ok")
SENDER_OK = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
GO_AHEAD = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
TLS_READY = Reply(220, "2.0.0", "Ready to start TLS")
BYE = Reply(221, "2.0.0", "Bye")
CANNOT_VERIFY = Reply(252, "2.5.0", "Cannot verify, send it and see")

# 4xx: again later
SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down, try again later", "shutting_down")
TOO_BUSY = Reply(421, "4.3.2", "Too many connections, try again later", "too_busy")
TOO_MANY_FROM_CLIENT = Reply(421, "4.7.0", "Too many connections from your address", "too_many_from_client")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing", "too_many_errors")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands, closing", "too_many_commands")
TIMEOUT = Reply(421, "4.4.2", "Timeout, closing", "timeout")
SESSION_TOO_LONG = Reply(421, "4.4.2", "Session too long, closing", "session_too_long")
NO_ROOM = Reply(452, "4.3.1", "No room for mail now, try again later", "no_room")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients, send the rest in another mail", "too_many_recipients")
NO_TLS_NOW = Reply(454, "4.7.0", "TLS not available now", "no_tls")

# 5xx: never
BAD_LINE = Reply(500, "5.5.2", "Lines end with CR LF and hold no control bytes, closing", "bad_line")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long", "line_too_long")
UNKNOWN = Reply(500, "5.5.1", "Command not known", "unknown_command")
NOT_OFFERED = Reply(502, "5.5.1", "Command not offered", "not_offered")
NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no argument", "syntax")
NEED_HOST = Reply(501, "5.5.4", "Name your host", "syntax")
NEED_ADDRESS = Reply(501, "5.5.4", "Say which address", "syntax")
MAIL_SYNTAX = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]", "syntax")
RCPT_SYNTAX = Reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]", "syntax")
HELLO_FIRST = Reply(503, "5.5.1", "Say hello first", "order")
MAIL_FIRST = Reply(503, "5.5.1", "MAIL first", "order")
NESTED_MAIL = Reply(503, "5.5.1", "One mail at a time", "order")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients", "order")
TLS_ALREADY = Reply(503, "5.5.1", "TLS runs already", "order")
PIPELINED_STARTTLS = Reply(503, "5.5.1", "Nothing may follow STARTTLS, closing", "pipelined_starttls")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not known", "parameter")
BAD_PARAMETER = Reply(501, "5.5.4", "Bad value of a parameter", "parameter")
TOO_BIG = Reply(552, "5.3.4", "Mail larger than allowed", "too_big")
NEED_UTF8 = Reply(553, "5.6.7", "This address needs SMTPUTF8", "smtputf8")
TALKED_FIRST = Reply(554, "5.5.1", "Wait for the greeting", "talked_first")
NOT_SMTP = Reply(554, "5.5.1", "This is a mail server, closing", "not_smtp")
BARE_LINE_END = Reply(550, "5.6.0", "Bare CR or LF in the mail", "bare_line_end")
NUL_BYTE = Reply(550, "5.6.0", "NUL byte in the mail", "nul_byte")
TEXT_LINE_TOO_LONG = Reply(550, "5.6.0", "A line of the mail is too long", "text_line_too_long")
HEADER_TOO_LONG = Reply(550, "5.6.0", "The header of the mail is too long", "header_too_long")
HEADER_BYTES = Reply(550, "5.6.0", "Control byte, or 8-bit byte without SMTPUTF8, in the header", "header_bytes")
LOOP = Reply(554, "5.4.6", "Too many hops, the mail is in a loop", "loop")


def bad_address(why: str) -> Reply:
    """The address was refused by the grammar."""
    return Reply(553, "5.1.3", f"Bad address: {why}", "bad_address")


def local_error(number: str) -> Reply:
    """Our own fault; `number` finds it in our log, and nothing else leaks."""
    return Reply(451, "4.3.0", f"Local error {number}, try again later", "local_error")
