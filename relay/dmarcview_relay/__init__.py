"""The outbound wing: the signing relay. Nothing is here yet but the room; the wheel installs the name."""
