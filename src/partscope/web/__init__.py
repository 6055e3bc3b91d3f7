"""The page in the browser: mark parts on a few pictures, find them on the rest, correct, and find again.

`partscope serve` starts it. The room needs the extra `web` (FastAPI and uvicorn); nothing to its left imports it. What is
marked lives in a project folder beside the pictures (:mod:`partscope.web.project`), the page itself in `static/`, plain
HTML, CSS and ES modules that no build step touches and that load nothing from elsewhere.
"""

from partscope.web.app import create_app
from partscope.web.importing import import_marks
from partscope.web.serving import serve
from partscope.web.session import Session

__all__ = ["Session", "create_app", "import_marks", "serve"]
