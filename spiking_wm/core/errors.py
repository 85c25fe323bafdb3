"""The exception for errors of users: its message says what is wrong and how to fix it."""


class UserError(ValueError):
    """Invalid input. The message is one line that names the fix; command lines print only the message."""
