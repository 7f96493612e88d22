"""How many calls at once a target bears, found out from what they meet. Arithmetic only: it is told the time.

`algorithms` are three opinions about what a sign of too much is; `guard` knows when more calls only wait; `controller`
collects calls into windows, asks both, and keeps the limit within its bounds. The waiting is `concurrency.gate`'s.
"""

from .algorithms import ALGORITHMS, Aimd, Algorithm, Gradient, Name, Vegas
from .controller import Controller
from .guard import Guard

__all__ = ["ALGORITHMS", "Aimd", "Algorithm", "Controller", "Gradient", "Guard", "Name", "Vegas"]
