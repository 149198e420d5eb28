"""Scripts that measure what the guard costs. They are run by hand, and are no part of what is installed."""
