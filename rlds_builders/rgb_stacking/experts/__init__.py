"""Where the stacking expert grasps and puts things down."""
