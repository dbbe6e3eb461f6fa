"""Whom something proves to stand behind a source, and for how long such a sender counts as new.

The service, else who signed its mail, else whose envelope it carried if SPF passed for it. A mere claim is nobody's,
for anybody writes an envelope: one forger would else be thousands of senders.
"""

from __future__ import annotations

# SQL over a table with the columns of `store.Store.source_table` that NAMES lists; "" is nobody
SENDER = (
    "coalesce(nullif(service, ''), nullif(signature, ''), "
    "case when contains(evidence, '\"checked_envelope\"') then envelope end, '')"
)
NAMES = ("domain", "source_ip", "source_class", "by", "evidence", "service", "signature", "envelope")
UNNAMED = ("unknown", "third_party")  # classes whose senders may be new
NEW_DAYS = 14  # how long a sender is new
KNOWN_DAYS = 14  # of reports on a domain before its first day, else everything is new
