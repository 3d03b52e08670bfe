"""`python -m aftr.b4`: the same command as `aftr b4`, without the rest of the command line."""

from aftr.b4.command import b4

if __name__ == "__main__":
    b4(prog_name="aftr b4")
