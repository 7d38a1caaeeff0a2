// A pack that cannot be loaded: its container ends with reason PackLoadError and this message, and backs off.
'use strict';

throw new Error('this pack throws while it is loaded');
