"""Chainlit's page without anything from outside."""

import re

import chainlit.server as chainlit_server

_OUTSIDE_LINK = re.compile(r"<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE)
_OUTSIDE_META = re.compile(r"<meta\b[^>]*\bcontent=[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE)
_API_DOCS = {"/docs", "/docs/oauth2-redirect", "/redoc"}


def without_outside(html: str) -> str:
    """Drop links (fonts, styles, preconnects) and meta tags (preview pictures) that point to other machines."""
    return _OUTSIDE_META.sub("", _OUTSIDE_LINK.sub("", html))


def keep_offline() -> None:
    """Patch Chainlit's server, once: its page loses every outside address, its API documentation (a CDN page) goes."""
    original = chainlit_server.get_html_template
    if getattr(original, "offline", False):
        return

    def get_html_template(root_path: str) -> str:
        return without_outside(original(root_path))

    get_html_template.offline = True  # type: ignore[attr-defined]
    chainlit_server.get_html_template = get_html_template
    routes = chainlit_server.app.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", "") not in _API_DOCS]
