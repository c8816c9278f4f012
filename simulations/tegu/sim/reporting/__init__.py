"""Results of a run for readers.

report            `report.html`: one page with tables and plots
calibrated        what calibration has shown: the bound on harm, and the gain that each limit allows
plots             the plots of the page
evaluation        the results of one's own run, as an object that prints
cost_of_privacy   the same training with and without noise, side by side
progress          bars and lines while a run goes on
table             tables and notes as text, for the terminal, the report and the README
example_person    one held-out user's rows as CSV files, to try a ranking bundle on
"""
