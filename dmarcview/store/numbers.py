"""Numbers for names over all files of a store: one process remembers each source, reporter and kind of row once."""

from __future__ import annotations

import ipaddress
from typing import Any

CLASSES = ("own", "third_party", "forwarder", "unknown")
UNKNOWN = CLASSES.index("unknown")
WIDEST = 4_096  # addresses of a network that are listed one by one


class Names:
    """Numbers for texts, in the order of their first coming."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._number: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, text: str) -> int:
        """The number of a text; a new one gets the next."""
        found = self._number.setdefault(text, len(self.texts))
        if found == len(self.texts):
            self.texts.append(text)
        return found

    def known(self, text: str) -> int | None:
        """The number of a text, if it has one."""
        return self._number.get(text)

    def numbers(self, values: Any) -> Any:
        """The numbers of an Arrow array of texts."""
        import numpy as np

        return np.array([self.number(v or "") for v in values.to_pylist()], dtype=np.int32)


class Sources:
    """Numbers for sources, each written as `address domain`; with the number of its domain and of its class."""

    def __init__(self) -> None:
        import numpy as np
        import pyarrow as pa

        self.keys = pa.array([], pa.string())
        self.ips = pa.array([], pa.string())
        self.domains = Names()
        self.domain = np.zeros(0, dtype=np.int32)
        self.source_class = np.zeros(0, dtype=np.int8)

    def __len__(self) -> int:
        return len(self.keys)

    def known(self, keys: Any) -> Any:
        """The number of each key, -1 for those without one."""
        import pyarrow.compute as pc

        return pc.index_in(keys, value_set=self.keys).fill_null(-1).to_numpy()

    def number(self, keys: Any) -> tuple[Any, Any]:
        """(the number of each of these distinct keys, the numbers that are new); the class of new ones is unknown."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        found = self.known(keys).astype(np.int32)
        new = np.flatnonzero(found < 0)
        if not len(new):
            return found, new
        found[new] = fresh = np.arange(len(self), len(self) + len(new), dtype=np.int32)
        added = keys.take(pa.array(new))
        halves = pc.split_pattern(added, " ", max_splits=1)
        domains = pc.list_element(halves, 1).dictionary_encode()
        self.keys = pa.concat_arrays([self.keys, added])
        self.ips = pa.concat_arrays([self.ips, pc.list_element(halves, 0)])
        of = self.domains.numbers(domains.dictionary)[domains.indices.to_numpy()]
        self.domain = np.concatenate([self.domain, of])
        self.source_class = np.concatenate([self.source_class, np.full(len(new), UNKNOWN, dtype=np.int8)])
        return found, fresh

    def classify(self, numbers: Any, classes: Any) -> Any:
        """Give sources their classes, an Arrow array of texts; True for each source whose class is another now."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        codes = pc.index_in(classes, value_set=pa.array(CLASSES)).fill_null(UNKNOWN).to_numpy().astype(np.int8)
        moved = self.source_class[numbers] != codes
        self.source_class[numbers] = codes
        return moved

    def of_domains(self, names: tuple[str, ...]) -> Any:
        """True for each source of these domains."""
        import numpy as np

        mark = np.zeros(len(self.domains) + 1, dtype=bool)
        for name in names:
            number = self.domains.known(name)
            if number is not None:
                mark[number] = True
        return mark[self.domain]

    def of_network(self, text: str) -> Any:
        """True for each source in a network, or with an address, as `query.Filters` takes them."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        network = ipaddress.ip_network(text, strict=False)
        if network.version == 4 and network.prefixlen in (8, 16, 24):
            octets = str(network.network_address).split(".")[: network.prefixlen // 8]
            found = pc.starts_with(self.ips, ".".join(octets) + ".")
        elif network.num_addresses <= WIDEST:
            found = pc.is_in(self.ips, value_set=pa.array([str(a) for a in network]))
        else:
            raise ValueError(f"the network {text} is too wide for a filter: use /8, /16, /24 or at most 4096 addresses")
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)
