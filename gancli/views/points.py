"""Generated points over real ones, with the discriminator's score in the plane.

gancli sample ckpt=latest view=points n=2500    # for a run on data=ring8, for instance
"""

from gancli.models.base import Model
from gancli.views.grid import Grid


class Points(Grid):
    """Samples of a distribution in the plane or on a line, drawn over real points.

    Args:
        label: number or name of the only class to draw; None: all classes in turn.
    """

    needs = "a model of points"

    @classmethod
    def suits(cls, model: Model) -> bool:
        return model.spec.points
