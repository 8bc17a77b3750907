#!/usr/bin/env python3
"""Checks that TensorBoard's reader finds the log's losses in the event files of a training.

Needs:   pip install tensorboard
Usage:   python3 scripts/check_tensorboard.py FOLDER LOG   (`--tensorboard FOLDER --log LOG` of bantam student train)
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main():
    """Compares the losses step by step."""
    folder, log = sys.argv[1:3]
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    with open(log) as lines:
        logged = [json.loads(line) for line in lines]
    for tag, event in (("loss/train", "step"), ("loss/held_out", "held_out")):
        found = {scalar.step: scalar.value for scalar in events.Scalars(tag)}
        expected = {line["step"]: line["loss"] for line in logged if line["event"] == event}
        if found.keys() != expected.keys():
            sys.exit(f"{tag}: {len(found)} steps instead of {len(expected)}")
        worst = max(abs(found[step] - loss) / max(abs(loss), 1e-9) for step, loss in expected.items())
        print(f"{tag}: {len(found)} values, largest difference {worst:.1e}")
        if worst > 1e-6:
            sys.exit(f"{tag} differs from the log")


if __name__ == "__main__":
    main()
