"""axe-core, which looks for what shuts people out of a page."""

from axe_playwright_python.sync_playwright import Axe


def serious(page, context=None, **options) -> list[str]:
    """What axe-core finds that is serious or critical, with the first element that it is about."""
    found = Axe().run(page, context, {"resultTypes": ["violations"], **options}).response["violations"]
    bad = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {v['help']}: {len(v['nodes'])} times, {v['nodes'][0]['html'][:200]}" for v in bad]
