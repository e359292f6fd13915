"""What can go wrong in a way that the user can mend: the problem, the value, the remedy."""


class CourseError(Exception):
    """A problem to show without a traceback.

    Args:
        problem: what is wrong, with the offending value.
        remedy: what to do next, as an instruction.

    The command line prints both and exits with `exit_code`: 2 where the user can mend it, 1 where the world failed.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class UnreadableFile(CourseError):
    """A file that cannot become course material; ingest names it, skips it and goes on."""


class IndexMismatch(CourseError):
    """The index on disk was made by another embedder or another version of Lectern."""


class IndexBusy(CourseError):
    """Another process is writing the index."""


class MissingModel(CourseError):
    """Weights that are not in the cache, or are not what the manifest says."""


class TransferFailed(CourseError):
    """Weights that could not be fetched: no source answered, or the bytes were wrong."""

    exit_code = 1
