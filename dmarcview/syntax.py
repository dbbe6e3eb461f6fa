"""The grammar of the command line: which commands there are and which options they take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from dmarcview import __version__

Add = Callable[[argparse.ArgumentParser], None]


class Command(NamedTuple):
    """One command: where its function `run` name is, its help, its own options, and whether it takes the filters."""

    name: str
    target: str  # "module:function" under dmarcview.commands
    help: str
    add: Add | None = None
    filters: bool = False


def _paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="files, folders, globs, mbox, Maildir, or - for standard input"
    )


def _import(parser: argparse.ArgumentParser) -> None:
    _paths(parser)
    parser.add_argument("--no-raw", action="store_true", help="do not keep the raw inputs in the archive")


def _sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_whole, default=50, help="most rows, 0 for all (50)")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="report key as `dmarcview reports` shows it, or its beginning")
    parser.add_argument("--raw", action="store_true", help="write the input as it came, byte for byte")


def _refused(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "show", "replay"), default="list")
    parser.add_argument("ids", nargs="*", metavar="ID", help="numbers from the list; replay: all if none")
    parser.add_argument("--code", help="only this refusal code")
    parser.add_argument("--raw", action="store_true", help="show: write the input as it came, byte for byte")
    parser.add_argument("--limit", type=_whole, default=50, help="most rows of the list, 0 for all (50)")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("csv", "json", "parquet", "parsedmarc-csv", "parsedmarc-json"), default="csv"
    )
    parser.add_argument("--output", "-o", metavar="FILE", default="-", help="file to write, - for standard output")


def _dashboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="ADDRESS", help="address to listen on, before [dashboard] listen")
    parser.add_argument("--port", type=_port, help="port to listen on, before [dashboard] port; 0 takes a free one")
    _status(parser)


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--status", metavar="FILE", help="write a JSON file when up: what listens where")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does, as under `serve`")


def _ingest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="take what the spool holds now, then end")
    _status(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, help="port of the dashboard; a free one by default")
    parser.add_argument("--check", action="store_true", help="without a person: send, wait, read the page, compare")
    parser.add_argument("--keep", metavar="DIR", help="keep the data in this folder")


def _prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=_whole, help="keep this many days, before [data] retention_days")
    parser.add_argument("--archive-days", type=_whole, help="keep raw mails this long, before [data] archive_days")


def _backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="new folder for the copy")


def _restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder that `dmarcview backup` wrote; --data is the new store")


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", default="dmarcview.toml",
                        help="file to write, - for standard output (dmarcview.toml)")  # fmt: skip
    parser.add_argument("--domain", action="append", help="domain of yours; may be given several times")
    parser.add_argument("--hostname", help="name of this host towards others (mail. before the first domain)")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "show", "reference"))
    parser.add_argument("--write", metavar="DIR", help="reference: write every page into this folder")
    parser.add_argument("--page", choices=("config", "commands", "columns", "codes"), default="config")


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-network", action="store_true", help="leave out what needs DNS")


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "set", "remove"), default="list")
    parser.add_argument("target", nargs="?", help="address, network, service, AS15169, or a DKIM domain")
    parser.add_argument("kind", nargs="?", metavar="CLASS", choices=("own", "third_party", "forwarder", "unknown"),
                        help="own, third_party, forwarder or unknown")  # fmt: skip
    parser.add_argument("--domain", help="only for this domain of yours; by default for all")
    parser.add_argument("--note", default="", help="why, for those who come later")


def _sent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("search", nargs="?", metavar="WHAT", help="a queue id, Message-ID, sender or recipient, whole")
    parser.add_argument("--domain", action="append", help="domain of the From; may be given several times")
    parser.add_argument("--to", metavar="DOMAIN", help="recipient domain")
    parser.add_argument("--outcome", choices=("delivered", "deferred", "failed", "expired"))
    parser.add_argument("--since", metavar="DATE", help="first day, YYYY-MM-DD, UTC")
    parser.add_argument("--until", metavar="DATE", help="day after the last, YYYY-MM-DD, UTC")
    parser.add_argument("--daily", action="store_true", help="totals by day instead of rows")
    parser.add_argument("--limit", type=_whole, default=50, help="most rows, 0 for all (50)")


def _reconcile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", action="store_true", help="rows by day, source, From, selector and receiver, too")
    parser.add_argument("--limit", type=_whole, default=None, help="most lines of each table, 0 for all (10 of a kind "
                        "that asks for action, 5 of others, 50 else)")  # fmt: skip


def _alerts(parser: argparse.ArgumentParser) -> None:
    actions = ("check", "list", "show", "ack", "unack", "mute", "test", "backtest")
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="look now, list what is remembered, "
                        "show one, acknowledge it or take that back, mute its cause, send a test by every channel, or "
                        "judge the store's own past")  # fmt: skip
    parser.add_argument("id", nargs="?", type=_whole, metavar="ID", help="show, (un)ack, mute: number of the incident")
    parser.add_argument("--all", action="store_true", help="list: ended incidents, too")
    parser.add_argument("--limit", type=_whole, default=50, help="list: most incidents, 0 for all (50)")
    parser.add_argument("--days", type=_whole, default=None, help="mute: for so many days, 0 ends it (7); backtest: "
                        "so many days back (180)")  # fmt: skip
    parser.add_argument("--note", default="", help="ack, mute: why, for those who come later")
    parser.add_argument("--no-network", action="store_true", help="check: do not ask the DNS")


def _notebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="name or number of a notebook; none lists them")
    parser.add_argument("--dir", metavar="DIR", default=".", help="folder for the copy (this one)")
    parser.add_argument("--no-open", action="store_true", help="only write the copy, do not start JupyterLab")
    parser.add_argument("--domain", action="append", help="policy domain; may be given several times")
    parser.add_argument("--since", metavar="DATE", help="first day, YYYY-MM-DD, UTC (the newest 90 days)")
    parser.add_argument("--until", metavar="DATE", help="day after the last, YYYY-MM-DD, UTC")


def _queue(parser: argparse.ArgumentParser) -> None:
    actions = ("list", "show", "retry", "hold", "release", "delete", "redirect", "suppressed")
    parser.add_argument("action", nargs="?", choices=actions, default="list")
    parser.add_argument("words", nargs="*", metavar="WHICH", help="an id, a recipient domain or address, or all; "
                        "redirect: then the new address; suppressed: list, add ADDRESS or remove ADDRESS")  # fmt: skip
    parser.add_argument("--state", choices=("waiting", "held", "dead"), help="list: only recipients in this state")
    parser.add_argument("--raw", action="store_true", help="show: write the mail as it leaves, byte for byte")
    parser.add_argument("--note", default="", help="hold, suppressed add: why")
    parser.add_argument("--days", type=_whole, default=0, help="suppressed add: for so long, 0 for ever (0)")
    parser.add_argument("--limit", type=_whole, default=50, help="most mails of the list, 0 for all (50)")


def _key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "new", "show", "rotate", "retire", "import"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="domain, then selector; import: file, then domain")
    parser.add_argument("--selector", help="name of the key in the DNS; by default this host's name and the day")
    parser.add_argument("--bits", type=_whole, choices=(2048, 3072, 4096), help="length of a new RSA key (2048)")
    parser.add_argument("--ed25519", action="store_true", help="new: make an Ed25519 key beside the RSA key")


def _dns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("show", "check", "history"),
                        help="what to publish, whether it is published, or what was published when")  # fmt: skip
    parser.add_argument("domain", metavar="DOMAIN", help="domain in the From of your mail")
    parser.add_argument("--source", action="append", metavar="ADDRESS", help="address that mail leaves from; "
                        "by default [relay.delivery] source_ipv4 and source_ipv6, or this host's")  # fmt: skip


def _user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "add", "passwd", "rules", "remove"), default="list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="add and passwd ask for the password, or read it from "
                        "standard input")  # fmt: skip
    for option, dest in (("sender", "senders"), ("from", "froms"), ("recipient", "recipients")):
        parser.add_argument(f"--{option}", action="append", dest=dest, metavar="ADDRESS", help="add, rules: only this "
                            "one, within what is set for all; @example.org is a domain, a path a file; several "
                            "times")  # fmt: skip
    parser.add_argument("--rate", type=_whole, default=0, help="add, rules: recipients by the hour, 0 as set for all")
    parser.add_argument("--certificate-only", action="store_true", help="add: no password, only a client certificate")


def _sendmail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="ADDRESS", help="recipients; options as of sendmail: -t -i -f "
                        "SENDER -F NAME -v -bs -N NOTIFY -R RET -V ENVID -C SETTINGS; others are ignored")  # fmt: skip


def _test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="RCPT", help="address that the test is sent to; with the word "
                        "`loop` before it the test is remembered as a probe, and `loop` alone says what became of "
                        "each")  # fmt: skip
    parser.add_argument("--local", action="store_true", help="loop: run it all on this machine instead: relay, far "
                        "host, report, receiver, page, with a made-up DNS")  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="loop: tell news until each probe is reported or overdue")
    parser.add_argument("--limit", type=_whole, default=20, help="loop: the newest so many probes (20)")
    parser.add_argument("--from", dest="sender", metavar="ADDRESS", help="sender; by default the first that may send")
    parser.add_argument("--seconds", type=_whole, default=60, help="how long its way is followed (60)")
    parser.add_argument("--verbose", "-v", action="store_true", help="print the dialogue with the relay")
    parser.add_argument("--explain", metavar="FILE", help="say what a receiver wrote into the mail in this file; - is "
                        "standard input, to paste it")  # fmt: skip


COMMANDS: tuple[Command, ...] = (
    Command("import", "intake:run_import", "Read files and folders of reports into the store.", _import),
    Command("parse", "intake:run_parse", "Read files and print what is in them; nothing is stored.", _paths),
    Command("summary", "ask:run_summary", "Totals: messages, reports, passes, dispositions, classes.", None, True),
    Command("sources", "ask:run_sources", "Who sends: addresses with their class and pass rates.", _sources, True),
    Command("reports", "ask:run_reports", "Which reports are stored.", _sources, True),
    Command("report", "ask:run_report", "One report with its records, or its raw input.", _report),
    Command("refused", "refused:run", "What did not become rows: list, show, replay.", _refused),
    Command("export", "ask:run_export", "Write record rows for other programs.", _export, True),
    Command("label", "label:run", "Say yourself what a source is.", _label),
    Command("sent", "sent:run", "What the relay sent, to whom, and what the other side said.", _sent),
    Command("reconcile", "reconcile:run", "What was sent against what receivers reported.", _reconcile, True),
    Command("alerts", "alerts:run", "What is wrong, since when, and what to check first.", _alerts),
    Command("notebook", "notebook:run", "Notebooks: list them, or open a copy of one on your store.", _notebook),
    Command("queue", "queue:run", "Mail that waits to be delivered: see it, hold it, try it, redirect it.", _queue),
    Command("user", "user:run", "Who may log in at the relay, and what each may send.", _user),
    Command("sendmail", "sendmail:run", "Hand a mail to the relay, as /usr/sbin/sendmail does.", _sendmail),
    Command("receive", "run:run_receive", "Take report mails by SMTP and LMTP into the spool.", _status),
    Command("relay", "run:run_relay", "Take mail for sending, sign it and deliver it.", _status),
    Command("ingest", "run:run_ingest", "Take mails from the spool into the store; keep the store in order.", _ingest),
    Command("dashboard", "run:run_dashboard", "Serve the pages.", _dashboard),
    Command("serve", "run:run_serve", "All in one: receive, relay, ingest, dashboard.", _dashboard),
    Command("reload", "relay:run_reload", "Tell what runs to read its settings again."),
    Command("demo", "run:run_demo", "A year of made-up traffic, and live mails.", _demo),
    Command("key", "key:run", "DKIM keys: make, list, show their DNS records, rotate, retire, import.", _key),
    Command("dns", "dns:run", "What a sending domain must publish, whether it does, and since when.", _dns),
    Command(
        "test",
        "test:run",
        "Send a tagged mail, explain what its receiver wrote into it, and find it in the reports.",
        _test,
    ),
    Command("prune", "keep:run_prune", "Delete what is past its retention.", _prune),
    Command("reindex", "keep:run_reindex", "Build ledger and records anew from the raw mails."),
    Command("backup", "keep:run_backup", "Copy the store while it runs.", _backup),
    Command("restore", "keep:run_restore", "Make a store from a backup.", _restore),
    Command("init", "init:run", "Write a settings file to begin with.", _init),
    Command("config", "configure:run", "Check the settings, show them, or print their reference.", _config),
    Command("doctor", "doctor:run", "Check machine, store, ports, DNS records; say what to do.", _doctor),
)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _port(text: str) -> int:
    port = _whole(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{port} is above 65535")
    return port


def _filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters")
    group.add_argument("--domain", action="append", help="policy domain; may be given several times")
    group.add_argument("--since", metavar="DATE", help="first day, YYYY-MM-DD, UTC")
    group.add_argument("--until", metavar="DATE", help="day after the last, YYYY-MM-DD, UTC")
    group.add_argument("--class", dest="source_class", choices=("own", "third_party", "forwarder", "unknown"))
    group.add_argument("--submitter", help="domain of the reporter")
    group.add_argument("--result", choices=("pass", "fail"), help="DMARC result")
    group.add_argument("--ip", dest="source_ip", help="sending address")
    group.add_argument("--all", action="store_true", help="count unverified reports too")


def parser() -> argparse.ArgumentParser:
    """The whole command line, as argparse."""
    top = argparse.ArgumentParser(prog="dmarcview", description="DMARC reports in, answers out.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"dmarcview {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        if command.add:
            command.add(one)
        if command.filters:
            _filters(one)
        one.add_argument("--config", metavar="FILE", help="settings file (./dmarcview.toml, /etc/dmarcview.toml)")
        one.add_argument("--data", metavar="DIR", help="data folder, before the one in the settings")
        one.add_argument("--json", action="store_true", help="print JSON for programs")
        one.set_defaults(function=command.target)
    return top
