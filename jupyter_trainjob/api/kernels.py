"""Which kernel a job gets: what it, its notebook or its profile names, among those there are. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ..resources.errors import FieldError
from ..resources.profile import Profile
from ..resources.trainjob import Environment
from .ports import Kernel

PYTHON = "python"
NATIVE = "python3"
"""The kernelspec of the jobs' own interpreter: to name it is to ask for Python."""
UNKNOWN = "?"
"""The language of what was asked for and is not there: no code is checked against it."""
_WORDS = {"python": "Python", "r": "R"}


@dataclass(frozen=True)
class Choice:
    """A kernelspec with its language, or a language alone (any kernel of it), or neither."""

    language: str = ""
    kernel: str = ""
    error: FieldError | None = None

    def __bool__(self) -> bool:
        return bool(self.language or self.kernel)


def asked(kernels: Sequence[Kernel] | None, environment: Environment, where: str = "spec.environment") -> Choice:
    """What ``environment`` names: the kernel, by name or by language, else the language. None: it can't be checked."""
    name, language = environment.kernel, environment.language.lower()
    if kernels is None:
        return Choice(language, name)
    found = next((kernel for kernel in kernels if kernel.name == name), None)
    if found is not None:
        if language and language != found.language:
            problem = f"the kernel {name!r} runs {word(found.language)}, not {word(language)}"
            return _wrong(f"{where}.language", problem, environment.language, "Leave the language out.")
        return Choice(found.language, found.name)
    if name:
        if _speaks(kernels, name.lower()):
            return Choice(name.lower())
        problem = f"there is no kernel {name[:80]!r}; {_there_are(kernels)}"
        return _wrong(f"{where}.kernel", problem, name[:80], _nearest(name, kernels))
    if language and not _speaks(kernels, language):
        problem = f"there is no kernel for the language {environment.language[:80]!r}; {_there_are(kernels)}"
        return _wrong(f"{where}.language", problem, environment.language[:80], _nearest(language, kernels))
    return Choice(language)


def of_source(kernels: Sequence[Kernel] | None, kernel: str, language: str, where: str) -> Choice:
    """What a notebook or a file is written for: its kernel where it is there, else any of its language."""
    if kernels is None:
        return Choice(language)
    found = next((one for one in kernels if one.name == kernel != NATIVE), None)
    if found is not None and language in ("", found.language):
        return Choice(found.language, found.name)
    if language and not _speaks(kernels, language):
        whose = f"the kernel {kernel[:80]!r}, " if kernel else ""
        problem = f"it is written for {whose}{word(language)}, and there is no kernel for that; {_there_are(kernels)}"
        return _wrong(where, problem, None, "Name one that can run it with --kernel (spec.environment.kernel).")
    return Choice(language)


def of_profile(kernels: Sequence[Kernel] | None, profile: Profile) -> Choice:
    """What the profile names, where the job leaves it open."""
    choice = asked(kernels, profile.spec.environment)
    if choice.error is None:
        return choice
    problem = f"the profile {profile.metadata.name!r} can't be used: {choice.error.message}"
    remedy = "Choose another profile, or name a kernel with --kernel; tell the operator."
    return _wrong("spec.profile", problem, profile.metadata.name, remedy)


def decide(kernels: Sequence[Kernel] | None, *choices: Choice) -> Choice:
    """The first of ``choices`` that says something; Python where none does."""
    for choice in choices:
        if choice or choice.error:
            return choice
    return asked(kernels, Environment(language=PYTHON))


def word(language: str) -> str:
    """A language as people write it."""
    return _WORDS.get(language, language[:80].capitalize())


def _speaks(kernels: Sequence[Kernel], language: str) -> bool:
    return any(kernel.language == language for kernel in kernels)


def _there_are(kernels: Sequence[Kernel]) -> str:
    told = [f"{kernel.name} ({word(kernel.language)})" for kernel in kernels]
    return "there are: " + ", ".join(told) if told else "there is none at all"


def _nearest(name: str, kernels: Sequence[Kernel]) -> str:
    near = difflib.get_close_matches(name, [kernel.name for kernel in kernels], n=1)
    return f"Did you mean {near[0]!r}?" if near else "Name one of these, or its language."


def _wrong(where: str, problem: str, value: str | None, remedy: str) -> Choice:
    return Choice(UNKNOWN, "", FieldError(where, problem, value, remedy))
