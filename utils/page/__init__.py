"""The course as a web page: what fine-tunes the practice model in the reader's browser."""
