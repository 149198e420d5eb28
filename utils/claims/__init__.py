"""Each claim of the course, put to a test that was stated before its result was known.

``experiments`` states them, ``runs`` carries them out, ``statistics`` decides, ``cards`` shows the result in a lesson.
"""
