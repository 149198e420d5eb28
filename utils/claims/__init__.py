"""Each claim of the course, put to a test that was stated before its result was known.

``experiments`` states them, ``runs`` carries them out, ``statistics`` and ``verdicts`` decide, ``cards`` shows the result.
"""

from utils.claims.cards import claim_card

__all__ = ["claim_card"]
