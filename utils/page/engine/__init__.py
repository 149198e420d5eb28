"""The training engine of the page: C compiled to WebAssembly, the JavaScript around it, and what builds and exports both.

MATH.md says what is computed, source/ computes it, engine.mjs is what a page imports.
"""
