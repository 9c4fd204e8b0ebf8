# The log of C++ libraries belongs in the terminal, not under the reader's cell.
c.IPKernelApp.capture_fd_output = False  # noqa: F821
