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
# # 07 Incident autopsy
#
# One alert, step by step: what was the evidence, when could it be known, and what was hit?

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for
INCIDENT = ""  # part of an incident's name, such as "dkim_failing example.org"; empty: the one that hit most mail

# %%
from dmarcview.alerts import overdue, series
from dmarcview.alerts.evaluate import evaluate
from dmarcview.analysis import autopsy, identifiers, opening

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## What the alerts say
#
# Findings of now, and those that have ended (`cleared`). Days are those on which it happened, not on which it was
# reported.

# %%
now = int(study.store.clock())
today = now // series.DAY
findings = [one for one in evaluate(study.store, study.config, now) if not DOMAINS or one.domain in DOMAINS]
autopsy.listed(findings)

# %% [markdown]
# ## The incident
#
# The autopsy is about failing rates, for they are judged by summed evidence.

# %%
finding = autopsy.pick(findings, INCIDENT)
print(finding.title if finding else "no rate has failed in this store: set STORE, DOMAINS or INCIDENT")
print(finding.text if finding else "")

# %% [markdown]
# ## Step 1: the evidence of each report
#
# Each report speaks for a fault or against it, by how much likelier its failures are under a worse share than under the
# usual one. No report adds more than 3, so that no single forwarder or broken report decides.

# %%
loaded = series.load(study.store, today, verified=not UNVERIFIED)
method = autopsy.method_of(loaded)
if finding:
    receipts = overdue.load(study.store, now, verified=not UNVERIFIED, days=series.HISTORY_DAYS)
    cells = autopsy.cells(loaded, finding, receipts)
    evidence = autopsy.evidence(autopsy.around(cells, finding, today), finding.usual or 0.0, method)
    autopsy.evidence_picture(evidence).show()

# %% [markdown]
# ## Step 2: the evidence summed
#
# S adds the evidence of each day and never falls below zero. Above the threshold h it is an incident; S stays at h
# while it goes on, and below half of it on two days it ends. The orange line is what was known at the time: reports
# come late.

# %%
if finding:
    first, last = autopsy.window(finding, today)
    full = autopsy.trace(cells, method, first, last)
    arrived = autopsy.trace(cells, method, first, last, arrived=True)
    autopsy.trace_picture(full, arrived).show()

# %% [markdown]
# ## Step 3: how long it took
#
# `decision` are the days until enough had happened, `reports` the days until enough of it had been reported. The first
# can be changed by the threshold, the second by nobody.

# %%
latency = autopsy.latency(cells, finding, method, today) if finding else None
latency

# %% [markdown]
# ## Step 4: what changed
#
# Own mail of the domain before, during and after: which selector, which result.

# %%
records = study.records()
changed = autopsy.before_and_during(identifiers.identifiers(records), finding) if finding else None
changed

# %% [markdown]
# ## Step 5: what to check, and what ends it

# %%
print(f"{finding.check}\n\nIt ends with: {finding.words.clears}" if finding else "")

# %% [markdown]
# ## Do the numbers agree?

# %%
assert (loaded.cells.failed <= loaded.cells.total).all()
if finding:
    assert finding.failed <= finding.total
    assert evidence["evidence"].abs().max() <= method.clip
    assert (full["score"] >= 0).all()
    assert full["open"].any()
    assert full["total"].sum() == evidence["total"].sum()
    assert latency.decision >= 0
    assert latency.known is None or latency.decision + latency.reports == (latency.known - latency.began).days
    whole = changed[["before", "during", "after"]].to_numpy().sum()
    assert whole <= records.loc[records["domain"] == finding.domain, "count"].sum()
