# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 Policy what-if
#
# Who would be hit at quarantine, at reject, and by strict alignment?

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for
ABSENT: list[str] = []  # subdomains that do not exist, for which np= holds

# %%
import pandas as pd
from IPython.display import display

from dmarcview.analysis import identifiers, opening, whatif

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## What is published

# %%
records = study.records()
told = identifiers.identifiers(records)
whatif.published(told)

# %% [markdown]
# ## The ladder, for each domain
#
# Each step is counted on the mail that was reported. `own` and `third_party` are mail that you want; `share` is the
# part of it that would be quarantined or rejected, with its 95 % interval. It is an upper bound: receivers let some
# mail through that they know to be forwarded. `guessed` counts mail whose strict alignment no report tells.

# %%
steps = {}
for row in whatif.published(told).fillna("").itertuples():
    now = whatif.Policy(row.p or "none", row.sp, "", row.adkim or "r", row.aspf or "r")
    steps[row.domain] = whatif.compare(told[told["domain"] == row.domain], whatif.ladder(now), absent=ABSENT)
ladders = pd.concat(steps, names=["domain", "step"])
ladders

# %%
for domain, compared in list(steps.items())[:5]:
    display(whatif.picture(compared, domain))

# %% [markdown]
# ## Who is hit at reject, and whom strict alignment adds
#
# The list of senders to repair before the step.

# %%
strict = whatif.Policy("reject", "reject", "reject", "s", "s")
at_reject = whatif.hit(told, whatif.Policy("reject"), absent=ABSENT)
at_reject[at_reject["source_class"].isin(whatif.OWN)]

# %%
at_strict = whatif.hit(told, strict, absent=ABSENT)
at_strict[at_strict["source_class"].isin(whatif.OWN)]

# %% [markdown]
# ## What it would stop

# %%
for domain, compared in list(steps.items())[:5]:
    display(whatif.stopped_picture(compared, domain))

# %% [markdown]
# ## Do the numbers agree?

# %%
assert told["count"].sum() == records["count"].sum()
assert ladders["share"].dropna().between(0, 1).all()
assert (ladders["low"] <= ladders["high"]).all()
relaxed = told[(told["adkim"].fillna("r") == "r") & (told["aspf"].fillna("r") == "r")]
assert whatif.hit(relaxed, whatif.Policy("none")).empty
assert whatif.hit(relaxed, whatif.Policy("reject"))["hit"].sum() == relaxed.loc[~relaxed["dmarc_pass"], "count"].sum()
assert whatif.hit(relaxed, strict)["hit"].sum() >= whatif.hit(relaxed, whatif.Policy("reject"))["hit"].sum()
