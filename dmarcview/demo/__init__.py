"""The demo: a made-up year of three domains, then report mails sent live to our own receiver."""
