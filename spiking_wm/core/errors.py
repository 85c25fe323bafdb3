"""The one exception that users meet: a message that says what is wrong and how to mend it."""


class UserError(ValueError):
    """Bad input. Its text is one line that names the fix; command lines print only that."""
