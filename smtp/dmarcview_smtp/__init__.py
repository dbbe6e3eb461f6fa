"""The SMTP front door that both wings stand behind: strict addresses, hardened sessions, group commit."""
