"""What can go wrong with a data set; every message says what to do about it."""

# ruff: noqa: N818 - the names say what is wrong with the data; the base class says "Error".


class DataError(Exception):
    """Any failure of `sal.data`; catch this one to catch them all."""


class UnknownDataset(DataError):
    """The name given is no data set's name."""


class UnsupportedDataset(DataError):
    """The data set exists, but can't be had here, or is no classification of images."""


class DataMissing(DataError):
    """The data are neither in the data folder nor to be had from an official source."""


class DataCorrupt(DataError):
    """Data are there, but they are not the official ones."""
