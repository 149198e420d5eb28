"""Each claim of the course, put to a test that was stated before its result was known.

``experiments`` states them, ``runs`` carries them out, ``samples``, ``statistics`` and ``verdicts`` decide, ``cards`` shows it.
"""

from utils.claims.cards import claim_brief, claim_card, verdict_table
from utils.claims.league_figure import plot_league
from utils.claims.source_run import source_run

__all__ = ["claim_brief", "claim_card", "plot_league", "source_run", "verdict_table"]
