"""What makes it a course: the first cell of a lesson, the environment here, on Colab and on a stick, the demo.

``maintain`` is for those who change it. Nothing is imported here: some of these files run before anything is installed.
"""
