"""How sure a number is: intervals by resampling, over seeds, of shares; and the verdicts that follow from them."""
