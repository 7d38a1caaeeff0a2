"""Make one self-contained file, the bundle, from a project: JavaScript or TypeScript, Nuxt, Python, or an executable.

A bundle is what `starkctl pack register` uploads. The same sources give the same bytes, so that a build can be compared
with another one by its digest. Compilers are not ours: esbuild, pip or uv, and pnpm are called where they are needed,
and what they made is looked at before anybody relies on it.
"""

from .bundled import Bundled, Wishes
from .sources import bundle

__all__ = ["Bundled", "Wishes", "bundle"]
