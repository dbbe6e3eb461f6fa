"""The inbound wing: DMARC report mails in, rows out."""
