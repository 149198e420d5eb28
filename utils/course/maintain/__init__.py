"""For those who change the course: store the lessons, build the site, write the links, measure speed, memory and load.

Each file runs by itself: ``python -m utils.course.maintain.bench``. What ``make help`` names is among them.
"""
