"""SAL (Selective Adaptive Learning, arXiv 2601.21561): the method, its contract and its trainer."""

from sal.config import Config, NetConfig
from sal.learner import Floor, Learner
from sal.sal import SAL, SALConfig
from sal.streams import Streams

__all__ = ["SAL", "Config", "Floor", "Learner", "NetConfig", "SALConfig", "Streams"]
