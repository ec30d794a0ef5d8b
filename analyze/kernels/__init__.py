"""What is done with every event, one after the other: in C where the library is there, else in numpy.

Each function is written twice, in files of the same name: in NAME.py, which tells what it does, and in NAME.c. Rows,
codes, groups, places and other numbers of something begin at 0; -1 is null. Arrays that are filled are given.
"""
