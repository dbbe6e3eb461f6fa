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
# # 02 Source inventory
#
# Who sends as us? Classify it, and export a list to approve.

# %% tags=["parameters"]
STORE = ""  # data folder of a store of yours; empty: a made-up one
DOMAINS: list[str] = []  # policy domains; empty: all
SINCE = ""  # first day, 2026-01-31; empty: the newest 90 days of your store, all of the made-up one
UNTIL = ""  # day after the last; empty: no end
UNVERIFIED = False  # count reports of mails that nobody vouches for

# %%
from dmarcview.analysis import identifiers, inventory, opening

study = opening.begin(STORE, domains=DOMAINS, since=SINCE, until=UNTIL, unverified=UNVERIFIED)
print(study)

# %% [markdown]
# ## Senders
#
# Addresses are put together by service, else by the organisation of their reverse name, else by whose signature
# they carry, else by network. `low` and `high` are the 95 % interval of the share that passes DMARC.

# %%
sources = study.store.sources(study.filters)
told = identifiers.identifiers(study.records())
senders = inventory.inventory(sources, told)
inventory.by_class(senders)

# %%
senders.head(20)

# %%
inventory.picture(senders)

# %% [markdown]
# ## What to do about each
#
# A proposal for a person to judge: `approve` means that somebody of yours has set it up, since it passes for your
# domain. `ask` means that somebody should know.

# %%
proposed = inventory.approve_list(senders)
proposed

# %% [markdown]
# ## The list to approve
#
# Run these lines to name the services as yours; a label of yours goes before what dmarcview thinks.

# %%
print("\n".join(inventory.commands(proposed, senders)) or "nothing to approve")

# %%
approved = proposed[proposed["action"] == "approve"]
print(approved.to_csv(index=False))

# %% [markdown]
# ## Do the numbers agree?

# %%
assert senders["messages"].sum() == sources["messages"].sum()
assert senders["dmarc_pass"].sum() == sources["dmarc_pass"].sum()
assert proposed["messages"].sum() == senders["messages"].sum()
assert senders["share"].between(0, 1).all()
assert (senders["low"] <= senders["share"] + 1e-9).all()
assert (senders["share"] <= senders["high"] + 1e-9).all()
