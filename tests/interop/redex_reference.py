#!/usr/bin/env python3
"""Our RedEX stores and net-mesh 0.19.0: each opens what the other wrote (redex.md 24, item 10; rule 4 of the golden stores).

    redex_reference.py REDEX_TOOL [unittest option…]
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import net

TOOL = ""
GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "redex"


def ours(base, channel, count=0, retain=0):
    """[(seq, inline, payload)] as our node sees them after appending `count` events and retaining the newest so many."""
    out = subprocess.run([TOOL, base, channel, str(count), str(retain)], check=True, capture_output=True, text=True).stdout
    rows = (line.split(" ") for line in out.splitlines())
    return [(int(seq), kind == "i", bytes.fromhex(payload)) for seq, _, kind, payload in rows]


def reference(base, channel, append=()):
    """The same by the reference, after appending the payloads of `append`."""
    log = net.Redex(persistent_dir=str(base)).open_file(channel, persistent=True)
    for payload in append:
        log.append(payload)
    events = [(e.seq, e.is_inline, bytes(e.payload)) for e in log.read_range(0, 2**64 - 1)]
    log.close()
    return events


class Stores(unittest.TestCase):
    def setUp(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="redex-reference-"))
        self.addCleanup(shutil.rmtree, self.base)

    def there_and_back(self, base, channel):
        """Ours appends, the reference reads and appends, ours reads: nobody misses or invents an event."""
        written = ours(base, channel, 5)
        self.assertGreaterEqual(len(written), 5)
        self.assertEqual(reference(base, channel), written, channel)
        after = reference(base, channel, [b"from the reference", b""])
        self.assertEqual(after[: len(written)], written, channel)
        self.assertEqual(len(after), len(written) + 2, channel)
        self.assertEqual(ours(base, channel), after, channel)
        again = ours(base, channel, 3)
        self.assertEqual(reference(base, channel), again, channel)
        self.assertEqual([seq for seq, _, _ in again[-3:]], [after[-1][0] + i for i in (1, 2, 3)], channel)

    def test_new_store(self):
        self.there_and_back(self.base, "sensors/lidar")

    def test_store_of_the_reference(self):
        payloads = [b"x" * n for n in (0, 1, 3, 8, 16, 17, 128, 129, 240, 241, 1024, 100000)]
        self.assertEqual([p for _, _, p in reference(self.base, "c", payloads)], payloads)
        self.assertEqual([(s, p) for s, _, p in ours(self.base, "c")], list(enumerate(payloads)))
        self.there_and_back(self.base, "c")

    def test_retention(self):
        """A generation that we wrote anew: the reference finds there what we retain, as it does in its own."""
        for generation, retain in ((2, 50), (3, 10), (4, 1)):
            written = ours(self.base, "c", 1000, retain)
            self.assertEqual(len(written), retain)
            self.assertEqual([path.name for path in (self.base / "c").glob("v*")], [f"v{generation:010}"])
            self.assertEqual(reference(self.base, "c"), written)
        self.there_and_back(self.base, "c")

    def test_golden_stores(self):
        stores = sorted(p.parent for p in GOLDEN.glob("*/store"))
        self.assertGreater(len(stores), 40)
        for store in stores:
            with self.subTest(store.name):
                base = self.base / store.name
                shutil.copytree(store / "store", base)
                for channel in json.loads((store / "expected.json").read_text())["channels"]:
                    self.there_and_back(base, channel["name"])


if __name__ == "__main__":
    TOOL = sys.argv.pop(1)
    unittest.main(verbosity=2)
