"""The part of each batch that one of several processes reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """The part of each batch that one of several processes reads.

    Args:
        index: number of the process, from 0.
        count: number of processes, a divisor of the batch size.
    """

    index: int = 0
    count: int = 1

    def of(self, batch_size: int) -> int:
        """Return the number of images in this part.

        Raises:
            ValueError: for a batch that can't be divided.
        """
        if batch_size % self.count:
            raise ValueError(
                f"Invalid value for argument `batch_size`: expected a multiple of {self.count} "
                f"processes, received {batch_size}."
            )
        return batch_size // self.count


WHOLE = Part()
