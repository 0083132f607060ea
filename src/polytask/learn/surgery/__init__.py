"""What is done when the gradients of tasks disagree: PCGrad, or any of torchjd's aggregators."""

from polytask.learn.surgery.contract import Surgery, surgery
from polytask.learn.surgery.pcgrad import PCGrad
from polytask.learn.surgery.theirs import Torchjd

__all__ = ["PCGrad", "Surgery", "Torchjd", "surgery"]
