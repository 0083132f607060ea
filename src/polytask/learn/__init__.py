"""How tasks are trained together: schedules, weightings, surgery, regularizers and the loop."""
