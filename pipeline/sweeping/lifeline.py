"""What the fork server imports first: it ends when the sweep does, and its children with it.

Python's fork server ends when a pipe closes, but every child holds that pipe open too.
"""

from pipeline.core.parent import end_with_parent

end_with_parent()
