"""Lets torchvision load without its compiled operators, by declaring the two that it registers as it is imported.

Copied into nerfstudio's environment where torchvision's build does not fit torch's; nothing there calls the operators.
"""

import importlib.abc
import sys


class _Declared(importlib.abc.MetaPathFinder):
    """Declares them when torchvision is first looked for, so that nothing is imported before."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(library)


_kept: list = []
"""What is declared vanishes with its library."""
sys.meta_path.insert(0, _Declared())
