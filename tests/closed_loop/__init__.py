"""The closed loop with real receivers: our relay sends, a real engine verifies and reports, our commands tell.

    our relay (198.51.100.10) -- SMTP by MX --> Postfix (203.0.113.25) -- milter --> rspamd, or OpenDKIM + OpenDMARC
    our receiver (198.51.100.10, port 25) <-- report mail -- Postfix <-- the engine's own aggregate report

`run.py` starts it in namespaces of its own with only `lo` and nsd as the world's DNS, `inside.py` walks around it,
`expect.py` says what must come out.
"""
